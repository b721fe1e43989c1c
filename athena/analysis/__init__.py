"""DataFrames in, typed assessments out. Knows no database, broker, widget or wall clock."""
