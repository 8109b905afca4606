INSERT INTO sms VALUES (1, '😀🦷', 'café'), (2, '漢字', 'Müller');
