UPDATE ticker SET N = 'x';
