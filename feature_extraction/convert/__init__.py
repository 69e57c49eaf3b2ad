"""Model files of others, read without their software, become folders that `from_pretrained` loads."""
