INSERT INTO definition VALUES (1, 'Exam'), (2, 'Cleaning');
