"""What other servers publish, fetched with care: whoever names an address may mean us harm."""
