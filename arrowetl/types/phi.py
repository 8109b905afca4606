"""
OpenDental's columns that name a person → a policy to begin with.

A table of what is known, and one pure function; `analyze --suggest-phi` prints
what it gives, and a person decides. What is in free text nobody can know:
notes, messages and scanned documents are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from arrowetl.model.connection import TableSettings
from arrowetl.model.plan import Table
from arrowetl.types import masking
from arrowetl.types.rules import LETTERS

# Table → what becomes of which columns: a mask, or `exclude`. Names are hashed, so that they remain distinct
# and can be joined; dates of birth keep their year.
PERSONAL: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "patient": {
        "hash": ("LName", "FName", "ChartNumber", "MedicaidID", "Email"),
        "partial": ("Birthdate", "DateTimeDeceased", "Zip"),
        "nullify": ("MiddleI", "Preferred", "Address", "Address2", "City", "Salutation", "AddrNote", "FamFinUrgNote",
                    "ApptModNote", "MedUrgNote", "HmPhone", "WkPhone", "WirelessPhone"),
        # Folders are called by the name.
        "exclude": ("SSN", "ImageFolder", "TrophyFolder", "EmploymentNote"),
    },
    "patientnote": {"exclude": ("FamFinancial", "ApptPhone", "Medical", "Service", "MedicalComp", "Treatment",
                                "ICEName", "ICEPhone")},
    "ehrpatient": {"nullify": ("MotherMaidenFname", "MotherMaidenLname"), "exclude": ("MedicaidState",)},
    "referral": {"hash": ("LName", "FName"),
                 "nullify": ("MName", "Address", "Address2", "City", "Zip", "EMail", "Telephone", "Phone2"),
                 "exclude": ("SSN", "Note")},
    "provider": {"exclude": ("SSN",), "partial": ("Birthdate",)},
    "employee": {"hash": ("LName", "FName"),
                 "nullify": ("MiddleI", "WirelessPhone", "EmailWork", "EmailPersonal")},
    "contact": {"hash": ("LName", "FName"), "nullify": ("WkPhone", "Fax"), "exclude": ("Notes",)},
    "inssub": {"hash": ("SubscriberID",), "exclude": ("SubscNote", "BenefitNotes")},
    "creditcard": {"exclude": ("CCNumberMasked", "Address", "Zip", "XChargeToken", "PayConnectToken", "Note")},
    "phonenumber": {"exclude": ("PhoneNumberVal", "PhoneNumberDigits")},
    "screen": {"partial": ("Birthdate",)},
    "commlog": {"exclude": ("Note", "Signature")},
    "procnote": {"exclude": ("Note", "Signature")},
    "appointment": {"exclude": ("Note",)},
    "histappointment": {"exclude": ("Note",)},
    "recall": {"exclude": ("Note",)},
    "treatplan": {"exclude": ("Note", "Signature", "SignatureText", "SignaturePractice", "SignaturePracticeText")},
    "payplan": {"exclude": ("Note", "Signature")},
    "statement": {"exclude": ("Note", "NoteBold", "EmailBody")},
    "document": {"exclude": ("Note", "Signature", "RawBase64", "Thumbnail")},
    "documentmisc": {"exclude": ("RawBase64",)},
    "eobattach": {"exclude": ("RawBase64",)},
    "emailmessage": {"exclude": ("ToAddress", "FromAddress", "Subject", "BodyText", "RawEmailIn", "CcAddress",
                                 "BccAddress", "RecipientAddress")},
    "sheetfield": {"exclude": ("FieldValue",)},
    "smsfrommobile": {"exclude": ("MobilePhoneNumber", "SmsPhoneNumber", "MsgText")},
    "smstomobile": {"exclude": ("MobilePhoneNumber", "SmsPhoneNumber", "MsgText")},
    "claim": {"exclude": ("ClaimNote",)},
    "procedurelog": {"exclude": ("ClaimNote", "BillingNote")},
    "payment": {"exclude": ("PayNote",)},
    "disease": {"exclude": ("PatNote",)},
    "medicationpat": {"exclude": ("PatNote",)},
    "medlab": {"exclude": ("NotePat",)},
    "task": {"exclude": ("Descript",)},
    "tasknote": {"exclude": ("Note",)},
    "popup": {"exclude": ("Description",)},
    "patfield": {"exclude": ("FieldValue",)},
    "orthochart": {"exclude": ("FieldValue",)},
    "securitylog": {"exclude": ("LogText",)},
    "apptthankyousent": {"exclude": ("PhonePat", "MsgTextToMobile", "EmailSubj", "EmailText")},
    "confirmationrequest": {"exclude": ("PhonePat", "MsgTextToMobile", "EmailSubj", "EmailText")},
    "emailaddress": {"exclude": ("EmailPassword",)},
    "clearinghouse": {"exclude": ("Password",)},
    "centralconnection": {"exclude": ("MySqlPassword",)},
    "ebill": {"exclude": ("ElectPassword",)},
    "supplier": {"exclude": ("Password",)},
    "webschedrecall": {"exclude": ("PhonePat", "EmailPat", "EmailText")},
    "hl7msg": {"exclude": ("MsgText",)},
    "etransmessagetext": {"exclude": ("MessageText",)},
    "userod": {"exclude": ("Password",)},
    "userweb": {"exclude": ("Password", "PasswordResetCode")},
    "vaccinepat": {"exclude": ("Note",)},
}  # fmt: skip


def suggested(tables: Iterable[Table], settings: Mapping[str, TableSettings]) -> dict[str, dict[str, Any]]:
    """
    Table → `columns` for the personal columns that are there and that nobody has decided about.

    Where a mask does not fit, as for a hash in a short column, the column is left out instead.
    """
    found = {}
    for table in sorted(tables, key=lambda table: table.name):
        decided = settings.get(table.name, TableSettings()).get("columns") or {}
        chosen = {}
        wanted = {name: what for what, names in PERSONAL.get(table.name, {}).items() for name in names}
        for column in table.columns:
            what = wanted.get(column.name)
            if what is None or column.name in decided or column.name in table.primary_key:
                continue
            fits = what != "exclude" and masking.refused(column, what, table.primary_key) is None
            chosen[column.name] = {"mask": what} if fits else {"exclude": True}
        if chosen:
            found[table.name] = chosen
    return found


_IDENTIFYING = re.compile(
    "note|name|phone|email|address|birth|ssn|password|descript|comment|message|text|value|city|zip|signature", re.I
)


def doubtful(tables: Iterable[Table], settings: Mapping[str, TableSettings]) -> dict[str, list[str]]:
    """
    Table → texts that by their names may say something of a person, of which nothing is suggested or decided.
    """
    found = {}
    for table in sorted(tables, key=lambda table: table.name):
        decided = {*(settings.get(table.name, TableSettings()).get("columns") or {})}
        known = {name for names in PERSONAL.get(table.name, {}).values() for name in names}
        names = [
            column.name
            for column in table.columns
            if column.data_type in LETTERS and column.name not in known | decided and _IDENTIFYING.search(column.name)
        ]
        if names:
            found[table.name] = names
    return found
