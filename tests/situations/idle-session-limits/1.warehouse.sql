ALTER ROLE CURRENT_USER SET idle_session_timeout = '3s';
