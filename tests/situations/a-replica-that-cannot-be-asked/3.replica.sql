DROP TABLE stamped, summed;
