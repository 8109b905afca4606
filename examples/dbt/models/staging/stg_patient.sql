select
    "PatNum" as patient_id,
    "LName" as last_name,
    "FName" as first_name,
    "Birthdate" as born_on,
    "PatStatus" as status
from {{ source('raw', 'patient') }}
