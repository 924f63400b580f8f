"""What results show: rules that turn tables into claims, and the templates that word them."""
