UPDATE pupil SET N = 'x' WHERE Id = 5;
