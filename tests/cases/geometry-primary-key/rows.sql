INSERT INTO spots VALUES (ST_GeomFromText('POINT(1 2)', 4326), 1), (ST_GeomFromText('POINT(1 3)'), 2);
