"""python -m sallyport"""

from sallyport.cli.main import main

main()
