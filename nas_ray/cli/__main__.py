"""``python -m nas_ray.cli``."""

from nas_ray.cli import main

if __name__ == "__main__":
    main()
