UPDATE office SET At = ST_GeomFromText('POINT(5 6)') WHERE Id = 2;
