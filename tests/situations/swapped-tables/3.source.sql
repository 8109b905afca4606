RENAME TABLE room_a TO x, room_c TO room_a, x TO room_c;
