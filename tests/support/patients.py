"""
A table of patients as OpenDental has it, and how it may be extracted.
"""

TIMESTAMP = "DateTStamp timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"
PATIENT = f"""
CREATE TABLE patient (PatNum bigint NOT NULL AUTO_INCREMENT, LName varchar(100) NOT NULL, Balance double,
  Birthdate date NOT NULL DEFAULT '0001-01-01', {TIMESTAMP}, PRIMARY KEY (PatNum), KEY (LName))
  ENGINE=MyISAM DEFAULT CHARSET=utf8;
INSERT INTO patient SELECT seq, CONCAT('name ', seq), seq / 7, '1980-02-29', '2020-01-01' FROM seq_1_to_3000
"""
INCREMENTAL = {"extraction_strategy": "incremental", "primary_incremental_column": "DateTStamp"}
FULL = {"extraction_strategy": "full_table"}
