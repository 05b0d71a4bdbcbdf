"""Other faces of the formats that have several, for the contract tests to damage like the readers' own examples."""

from __future__ import annotations

_TRC_1_0 = b""";##########################################################################
;    Start time: 05.03.2009 16:15:12.317
;----+- ---+--- ----+--- + -+ -- -- ...
     1)      10     0410 8 0C 00 1A 0B 00 0D 04 C1
     2)      12 18DAF110 0
     3)      17     0100 8 RTR
     4)      71 FFFFFFFF 4 00 00 00 08 BUSHEAVY
"""
_TRC_1_2 = b""";$FILEVERSION=1.2
     1)      1059.900 1  Rx        0300 7  00 00 00 00 04 00 00
     2)      1283.231 2  Tx    18DAF110 2  01 02
     3)      1334.416 1  Warng FFFFFFFF 4  00 00 00 08  BUSHEAVY
     4)      1334.522 1  Error     0008 4  00 19 08 08
"""
_TRC_1_3 = b""";$FILEVERSION=1.3
     1)      1059.900 1  Rx        0300 -  7    00 00 00 00 04 00 00
     2)      1283.231 2  Tx    18DAF110 -  9    00 00 00 00 04 00 00 01
     3)      1300.000 1  Rx        0300 -  8    RTR
     4)      1334.416 1  Warng FFFFFFFF -  4    00 00 00 08  BUSHEAVY
"""
_TRC_2_0 = b""";$FILEVERSION=2.0
;$STARTTIME=42209.4075997106
;$COLUMNS=N,O,T,I,d,l,D
      1      1059.900 DT     0300 Rx 7  00 00 00 00 04 00 00
      2      1283.231 FB 18DAF110 Tx 12 00 01 02 03 04 05 06 07 08 09 0A 0B
      3      1298.945 RR     0400 Rx 2
      4      1323.201 ER        - Rx 5  04 00 02 00 00
      5      1334.416 ST        - Rx 4  00 00 00 08
      6      1334.522 EV User event
"""
_TRC_2_1 = b""";$FILEVERSION=2.1
;$COLUMNS=N,O,T,B,I,d,R,L,D
      1      1059.900 DT 1      0300 Rx -  7    00 00 00 00 04 00 00
      2      1283.231 FE 2  18DAF110 Tx -  9    00 01 02 03 04 05 06 07 08 09 0A 0B
      3      1298.945 RR 1      0400 Rx -  2
      4      1323.201 EC 1         - Rx -  2    02 02
"""
_ASC_DEC = b"""date Sat Nov 21 10:11:15 2026
base dec  timestamps relative
no internal events logged
0.001000 1  123             Rx   d 8 1 22 233 44 55 66 77 88
0.002500 2  417001744x      TxRq d 2 2 62
0.000500 2  417001744x      Tx   d 2 2 62
0.003000 1  2015            Rx   r
0.000100 CANFD   1 Rx        801                  1 0 9 12 0 1 2 3 4 5 6 7 8 9 10 255
0.000500 CAN 1 Status:chip status error active
"""
_CANDUMP_DATE = b""" (2023-03-15 00:35:52.415482)  can0  285   [8]  00 00 00 00 00 00 0D 94
 (2024-02-29 23:59:59.999999)  can1  18DAF110   [3]  02 3E 00   '.>.'
 (2024-12-31 00:00:00.000000)  can0  123  [08]  00 01 02 03 04 05 06 07
"""
_CANDUMP_NO_CLOCK = b"""  can0  285   [8]  00 00 00 00 00 00 0D 94
  can1  18DAF110   [3]  02 3E 00   '.>.'
  vcan0  7DF   [0]  remote request
"""

VARIANTS: dict[str, tuple[bytes, ...]] = {
    "trc": (_TRC_1_0, _TRC_1_2, _TRC_1_3, _TRC_2_0, _TRC_2_1),
    "asc": (_ASC_DEC,),
    "candump_text": (_CANDUMP_DATE, _CANDUMP_NO_CLOCK),
}
