"""The verbs of ``credit-like``, one short recipe each; the only place that reads YAML and builds objects."""

import os

# Before torch is imported, which reads it then: threads that wait give their core back. Threads that spin, the default,
# are as fast on an idle machine and ten times slower on one that shares its cores (a GAT step of 5,000 nodes, two
# threads on two busy cores: 730 ms spinning, 76 ms passive, 73 ms with one thread).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
