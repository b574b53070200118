"""Points in and out: spreadsheets and GeoJSON."""
