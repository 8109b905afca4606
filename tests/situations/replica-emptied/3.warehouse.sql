UPDATE raw.etl_load_status SET version = 'x';
