"""Simulated vehicles: control units, messages, signals, and the drives that they report."""

from credit_like.can.vehicles.drive import Chassis
from credit_like.can.vehicles.plan import (
    Checksum,
    Constant,
    Counter,
    Diagnostics,
    Ecu,
    Inquiry,
    Message,
    Pages,
    Signal,
    Vehicle,
)
from credit_like.can.vehicles.sedan import SEDAN
from credit_like.can.vehicles.truck import TRUCK
from credit_like.can.vehicles.van import VAN

#: The vehicles that come with the simulator, by name.
VEHICLES: dict[str, Vehicle] = {vehicle.name: vehicle for vehicle in (SEDAN, VAN, TRUCK)}

__all__ = [
    "VEHICLES",
    "Chassis",
    "Checksum",
    "Constant",
    "Counter",
    "Diagnostics",
    "Ecu",
    "Inquiry",
    "Message",
    "Pages",
    "Signal",
    "Vehicle",
]
