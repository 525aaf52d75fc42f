"""Ways to load a CSV file into DynamoDB, each a program: `python FILE.py CSV ENDPOINT TABLE`."""
