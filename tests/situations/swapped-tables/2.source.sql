RENAME TABLE room_a TO x, room_b TO room_a, room_c TO room_b, x TO room_c;
