"""credit_like: a training engine for PyTorch, and on it graph detectors for CAN buses."""
