"""Figures side by side with what one would use otherwise, taken under the settings of the command ``credit-like``."""

import applications as applications  # before torch, whose OpenMP reads what is set there when it is loaded
