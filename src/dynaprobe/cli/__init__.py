"""The command line. Every command is one call into the rooms below; nothing else prints."""
