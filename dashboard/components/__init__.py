"""Parts of pages that need code in the browser."""
