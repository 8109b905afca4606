ALTER TABLE visit MODIFY A bigint;
ALTER TABLE seen MODIFY A bigint;
