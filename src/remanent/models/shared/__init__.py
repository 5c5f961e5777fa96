"""How models leave a process and come back: files in a folder, and the Hugging Face Hub."""
