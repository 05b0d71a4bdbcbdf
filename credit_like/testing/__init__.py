"""Contract tests: what every trainer, callback, logger and loader must keep. Subclass one, say how yours is made.

Nothing here imports pytest; it runs the methods whose names begin with ``test_`` in any class named ``Test...``.
"""

from credit_like.testing.bitwise import differences
from credit_like.testing.callbacks import CallbackContract
from credit_like.testing.loaders import LoaderContract
from credit_like.testing.loggers import LoggerContract
from credit_like.testing.trainers import TrainerContract

__all__ = ["CallbackContract", "LoaderContract", "LoggerContract", "TrainerContract", "differences"]
