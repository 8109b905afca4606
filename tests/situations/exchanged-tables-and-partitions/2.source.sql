RENAME TABLE hall TO x, hall_x TO hall, x TO hall_x;
ALTER TABLE parted EXCHANGE PARTITION p0 WITH TABLE part;
