"""Every store compared with the records, entry by entry, in bounded memory and without writing anything."""
