DROP TABLE raw.pay;
