"""CAN frames: readers and writers for log formats, captures and data sets, the bus simulator, the attack injector."""

from credit_like.can.arbitration import bus_load, frame_bits
from credit_like.can.attacks import ATTACK_FAMILIES, AttackSpec, resolve_attack
from credit_like.can.captures import AttackInterval, Capture, Defect, SourceFile
from credit_like.can.dataset import Dataset, read_dataset
from credit_like.can.dbc import DbcNames, id_text
from credit_like.can.errors import LogError, UnknownFormatError
from credit_like.can.families import FAMILIES, attack_family
from credit_like.can.frames import COLUMNS, ERROR, EXTENDED, FD, REMOTE, FrameTable
from credit_like.can.ingestion import Ingested, ingest
from credit_like.can.injector import inject
from credit_like.can.intervals import intervals_from_labels
from credit_like.can.log_scan import CaptureFacts, LogScan
from credit_like.can.logger import LOGGERS, Logger, record
from credit_like.can.read import read_log
from credit_like.can.readers import READERS, Reader
from credit_like.can.reading import ReadSettings
from credit_like.can.scan import open_log
from credit_like.can.simulated_dataset import write_simulated_dataset
from credit_like.can.simulator import simulate
from credit_like.can.vehicles import VEHICLES
from credit_like.can.write_log import write_log
from credit_like.can.writers import WRITERS, write_candump, write_crysys, write_ctt_csv, write_hcrl_csv

__all__ = [
    "ATTACK_FAMILIES",
    "COLUMNS",
    "ERROR",
    "EXTENDED",
    "FAMILIES",
    "FD",
    "LOGGERS",
    "READERS",
    "REMOTE",
    "VEHICLES",
    "WRITERS",
    "AttackInterval",
    "AttackSpec",
    "Capture",
    "CaptureFacts",
    "Dataset",
    "DbcNames",
    "Defect",
    "FrameTable",
    "Ingested",
    "LogError",
    "LogScan",
    "Logger",
    "ReadSettings",
    "Reader",
    "SourceFile",
    "UnknownFormatError",
    "attack_family",
    "bus_load",
    "frame_bits",
    "id_text",
    "ingest",
    "inject",
    "intervals_from_labels",
    "open_log",
    "read_dataset",
    "read_log",
    "record",
    "resolve_attack",
    "simulate",
    "write_candump",
    "write_crysys",
    "write_ctt_csv",
    "write_hcrl_csv",
    "write_log",
    "write_simulated_dataset",
]
