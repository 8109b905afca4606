CREATE TABLE places (Num int NOT NULL, g geometry, p point, l linestring, y polygon, mp multipoint, ml multilinestring, my multipolygon, gc geometrycollection, world point, PRIMARY KEY (Num)) ENGINE=MyISAM;
CREATE TABLE places_of_several_systems (Num int NOT NULL, p point, PRIMARY KEY (Num)) ENGINE=MyISAM;
