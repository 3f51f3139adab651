"""Short messages: the TPDUs that carry secured packets, octet for octet.

This room may import :mod:`transport.errors` and nothing else of ours. It knows TS 23.040 as far as data
download needs it: 8-bit user data with an optional user-data header, in SMS-DELIVER (network to phone),
SMS-SUBMIT (phone to network) and SMS-DELIVER-REPORT (the phone's answer, as RP-ACK or RP-ERROR). Text in
7-bit or UCS2 alphabets is rejected.

Theory of operation. Each TPDU is a frozen value with ``encode()`` and ``parse(octets)``, and for every
accepted input ``parse(octets).encode() == octets``: a field that we do not interpret is kept (a time stamp
that is no date, spare bits) or the TPDU is rejected (parameters of later releases, octets behind the end).
TP-UDHI is not a field: it is set exactly when the user data has a header.

The response packet in a delivery report is the special case. A card cannot set TP-UDHI in its answer, so a
report may hold ``02 71 00 ...`` with the flag clear. ``parse`` keeps to the flag, so that re-encoding stays
exact; whoever expects a response packet asks ``report.user_data.assume_header()``, which reads the header as
if the flag were set (3GPP TS 31.115 §4).
"""

from transport.sms.address import Address
from transport.sms.cursor import Cursor
from transport.sms.fields import DCS_CLASS_2_DATA, PID_DATA_DOWNLOAD, ValidityFormat, ValidityPeriod
from transport.sms.report import FailureCause, SmsDeliverReport
from transport.sms.timestamp import ServiceCentreTime
from transport.sms.tpdu import SmsDeliver, SmsSubmit
from transport.sms.user_data import (
    IEI_COMMAND_PACKET,
    IEI_CONCAT_8,
    IEI_CONCAT_16,
    IEI_RESPONSE_PACKET,
    MAX_USER_DATA,
    InformationElement,
    UserData,
)

__all__ = [
    "DCS_CLASS_2_DATA",
    "IEI_COMMAND_PACKET",
    "IEI_CONCAT_8",
    "IEI_CONCAT_16",
    "IEI_RESPONSE_PACKET",
    "MAX_USER_DATA",
    "PID_DATA_DOWNLOAD",
    "Address",
    "Cursor",
    "FailureCause",
    "InformationElement",
    "ServiceCentreTime",
    "SmsDeliver",
    "SmsDeliverReport",
    "SmsSubmit",
    "UserData",
    "ValidityFormat",
    "ValidityPeriod",
]
