"""`python -m imagineo_client` is the `imagineo` command line."""

from imagineo_client.command_line import main

if __name__ == "__main__":
    main()
