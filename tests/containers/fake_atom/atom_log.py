import logging

logger = logging.getLogger("atom")
logger.setLevel(logging.DEBUG)
console_handler = logging.StreamHandler()
console_handler.setLevel(logging.INFO)
console_handler.setFormatter(logging.Formatter("[atom %(asctime)s] %(levelname)s %(message)s"))
logger.addHandler(console_handler)
