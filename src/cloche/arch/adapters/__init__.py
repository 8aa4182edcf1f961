"""What the checker needs from the machine: files and the grimp library. Decides nothing."""
