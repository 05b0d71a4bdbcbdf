"""The verbs of ``credit-like``, one short recipe each; the only place that reads YAML and builds objects."""

import os

# Before torch is imported, whose OpenMP reads it then: threads that wait turn 20,000 times round, and then give
# their core back. By default it is 300,000 times (libgomp), on cores that our own threads or others need: a training
# step of a GAT (5,000 nodes, two threads on two cores) takes 20.4 ms so, 20.8 where they do not spin at all
# (OMP_WAIT_POLICY=PASSIVE), and 17.5 with this; on cores that others use too, 71 ms without spinning and 53 with this.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
