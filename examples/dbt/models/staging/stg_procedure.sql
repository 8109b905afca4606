select
    "ProcNum" as procedure_id,
    "PatNum" as patient_id,
    "ProcDate" as done_on,
    "ProcFee" as fee,
    "ProcStatus" as status
from {{ source('raw', 'procedurelog') }}
