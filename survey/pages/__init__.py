"""The book's pages that come from the catalog: cards, works by section, taxonomy, bibliography."""
