DROP TABLE updated, summed;
