-- The tables of stock and orders of X-Cart 4, with the columns that matter here as published: without transactions.
SET default_storage_engine = MyISAM;
CREATE TABLE xcart_config (name VARCHAR(32) NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name));
INSERT INTO xcart_config VALUES ('version', '4.4.5'), ('unlimited_products', 'N');
CREATE TABLE xcart_products (
  productid INT(11) NOT NULL AUTO_INCREMENT, productcode VARCHAR(255) NOT NULL DEFAULT '', provider INT(11) NOT NULL DEFAULT 0, weight DECIMAL(12,2) NOT NULL DEFAULT 0, list_price DECIMAL(12,2) NOT NULL DEFAULT 10,
  avail INT(11) NOT NULL DEFAULT 0, rating INT(11) NOT NULL DEFAULT 0, forsale CHAR(1) NOT NULL DEFAULT 'Y', product VARCHAR(255) NOT NULL DEFAULT '',
  PRIMARY KEY (productid), KEY productcode (productcode(100), provider)) DEFAULT CHARSET=utf8mb4;
CREATE TABLE xcart_variants (
  variantid INT(11) NOT NULL AUTO_INCREMENT, productid INT(11) NOT NULL DEFAULT 0, avail INT(11) NOT NULL DEFAULT 0, weight DECIMAL(12,2) NOT NULL DEFAULT 0, productcode VARCHAR(32) NOT NULL DEFAULT '0', def CHAR(1) NOT NULL DEFAULT '',
  PRIMARY KEY (variantid), UNIQUE KEY productcode (productcode), KEY productid (productid)) DEFAULT CHARSET=utf8mb4;
CREATE TABLE xcart_orders (
  orderid INT(11) NOT NULL AUTO_INCREMENT, userid INT(11) NOT NULL DEFAULT 0, total DECIMAL(12,2) NOT NULL DEFAULT 0, subtotal DECIMAL(12,2) NOT NULL DEFAULT 0, shipping_cost DECIMAL(12,2) NOT NULL DEFAULT 0, tax DECIMAL(12,2) NOT NULL DEFAULT 0,
  `date` INT(11) NOT NULL DEFAULT 0, status CHAR(1) NOT NULL DEFAULT 'Q', payment_method VARCHAR(128) NOT NULL DEFAULT '', customer_notes TEXT NOT NULL, company VARCHAR(255) NOT NULL DEFAULT '',
  b_firstname VARCHAR(128) NOT NULL DEFAULT '', b_lastname VARCHAR(128) NOT NULL DEFAULT '', b_address VARCHAR(255) NOT NULL DEFAULT '', b_city VARCHAR(64) NOT NULL DEFAULT '', b_state VARCHAR(32) NOT NULL DEFAULT '', b_country CHAR(2) NOT NULL DEFAULT '', b_zipcode VARCHAR(32) NOT NULL DEFAULT '', b_phone VARCHAR(32) NOT NULL DEFAULT '',
  s_firstname VARCHAR(128) NOT NULL DEFAULT '', s_lastname VARCHAR(128) NOT NULL DEFAULT '', s_address VARCHAR(255) NOT NULL DEFAULT '', s_city VARCHAR(255) NOT NULL DEFAULT '', s_state VARCHAR(32) NOT NULL DEFAULT '', s_country CHAR(2) NOT NULL DEFAULT '', s_zipcode VARCHAR(32) NOT NULL DEFAULT '', s_phone VARCHAR(32) NOT NULL DEFAULT '', email VARCHAR(128) NOT NULL DEFAULT '',
  PRIMARY KEY (orderid), KEY order_date (`date`)) DEFAULT CHARSET=utf8mb4;
CREATE TABLE xcart_order_details (
  orderid INT(11) NOT NULL DEFAULT 0, productid INT(11) NOT NULL DEFAULT 0, price DECIMAL(12,2) NOT NULL DEFAULT 0, amount INT(11) NOT NULL DEFAULT 0, itemid INT(11) NOT NULL AUTO_INCREMENT, productcode VARCHAR(255) NOT NULL DEFAULT '', product VARCHAR(255) NOT NULL DEFAULT '',
  PRIMARY KEY (itemid), KEY orderid (orderid)) DEFAULT CHARSET=utf8mb4;
CREATE TABLE xcart_customers (id INT(11) NOT NULL AUTO_INCREMENT, usertype CHAR(1) NOT NULL DEFAULT 'C', firstname VARCHAR(128) NOT NULL DEFAULT '', lastname VARCHAR(128) NOT NULL DEFAULT '', email VARCHAR(128) NOT NULL DEFAULT '', company VARCHAR(255) NOT NULL DEFAULT '', PRIMARY KEY (id)) DEFAULT CHARSET=utf8mb4;
INSERT INTO xcart_customers (firstname, lastname, email) VALUES ('Ada', 'Sample', 'ada@example.com');
ALTER TABLE xcart_orders AUTO_INCREMENT = 1001;
-- The till's own record of every change of stock, whoever makes it: the database writes it, not the program that changes.
CREATE TABLE till_journal (id INT NOT NULL AUTO_INCREMENT, at DATETIME(3) NOT NULL, kind VARCHAR(10) NOT NULL, sku VARCHAR(255), delta INT NOT NULL, quantity INT NOT NULL, ref VARCHAR(255) NOT NULL, PRIMARY KEY (id)) DEFAULT CHARSET=utf8mb4;
CREATE TRIGGER till_products AFTER UPDATE ON xcart_products FOR EACH ROW
  INSERT INTO till_journal (at, kind, sku, delta, quantity, ref)
  SELECT UTC_TIMESTAMP(3), IFNULL(@till_kind, 'delta'), NEW.productcode, NEW.avail - OLD.avail, NEW.avail, IFNULL(@till_ref, '') WHERE NEW.avail <> OLD.avail;
CREATE TRIGGER till_variants AFTER UPDATE ON xcart_variants FOR EACH ROW
  INSERT INTO till_journal (at, kind, sku, delta, quantity, ref)
  SELECT UTC_TIMESTAMP(3), IFNULL(@till_kind, 'delta'), NEW.productcode, NEW.avail - OLD.avail, NEW.avail, IFNULL(@till_ref, '') WHERE NEW.avail <> OLD.avail;
CREATE TABLE till_waits (name VARCHAR(64) NOT NULL, PRIMARY KEY (name));
