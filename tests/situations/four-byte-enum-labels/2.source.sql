UPDATE mood SET F = '🦷' WHERE Id = 2;
UPDATE moods SET F = '😀', G = '?' WHERE Id = 2;
