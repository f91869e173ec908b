"""Who is drawn: people with their faces, hands, hair and clothes."""
