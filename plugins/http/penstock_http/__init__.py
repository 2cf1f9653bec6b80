"""The one HTTP port, on which other plugins hang their routes."""
