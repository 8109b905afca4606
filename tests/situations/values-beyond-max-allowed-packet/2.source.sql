UPDATE letter, another SET letter.B = another.B WHERE letter.Id = 1;
SET GLOBAL max_allowed_packet = 1048576;
