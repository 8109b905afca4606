UPDATE watched SET V = 'y' WHERE Id = 2;
UPDATE seen_through SET A = 2;
