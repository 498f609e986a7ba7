-- The tables of stock and orders of osCommerce 2.3, CE Phoenix and Zen Cart, with the columns that matter here as published.
CREATE TABLE configuration (configuration_key VARCHAR(255) NOT NULL, configuration_value TEXT NOT NULL, PRIMARY KEY (configuration_key));
INSERT INTO configuration VALUES ('STOCK_LIMITED', 'true'), ('STOCK_ALLOW_CHECKOUT', 'true'), ('STOCK_CHECK', 'true');
CREATE TABLE products (
  products_id INT NOT NULL AUTO_INCREMENT, products_quantity INT(4) NOT NULL, products_model VARCHAR(255), products_price DECIMAL(15,4) NOT NULL DEFAULT 10,
  products_weight DECIMAL(5,2) NOT NULL DEFAULT 1, products_status TINYINT(1) NOT NULL DEFAULT 1, products_last_modified DATETIME, products_ordered INT NOT NULL DEFAULT 0,
  PRIMARY KEY (products_id), KEY idx_products_model (products_model(100)));
CREATE TABLE products_description (
  products_id INT NOT NULL, language_id INT NOT NULL DEFAULT 1, products_name VARCHAR(255) NOT NULL DEFAULT '', PRIMARY KEY (products_id, language_id));
CREATE TABLE orders (
  orders_id INT NOT NULL AUTO_INCREMENT, customers_id INT NOT NULL DEFAULT 1, customers_telephone VARCHAR(255) NOT NULL DEFAULT '', customers_email_address VARCHAR(255) NOT NULL DEFAULT '',
  delivery_name VARCHAR(255) NOT NULL DEFAULT '', delivery_company VARCHAR(255), delivery_street_address VARCHAR(255) NOT NULL DEFAULT '', delivery_suburb VARCHAR(255), delivery_city VARCHAR(255) NOT NULL DEFAULT '', delivery_postcode VARCHAR(255) NOT NULL DEFAULT '', delivery_state VARCHAR(255), delivery_country VARCHAR(255) NOT NULL DEFAULT '',
  billing_name VARCHAR(255) NOT NULL DEFAULT '', billing_company VARCHAR(255), billing_street_address VARCHAR(255) NOT NULL DEFAULT '', billing_suburb VARCHAR(255), billing_city VARCHAR(255) NOT NULL DEFAULT '', billing_postcode VARCHAR(255) NOT NULL DEFAULT '', billing_state VARCHAR(255), billing_country VARCHAR(255) NOT NULL DEFAULT '',
  payment_method VARCHAR(255) NOT NULL DEFAULT '', last_modified DATETIME, date_purchased DATETIME, orders_status INT(5) NOT NULL,
  PRIMARY KEY (orders_id));
CREATE TABLE orders_products (
  orders_products_id INT NOT NULL AUTO_INCREMENT, orders_id INT NOT NULL, products_id INT NOT NULL, products_model VARCHAR(255), products_name VARCHAR(255) NOT NULL, products_price DECIMAL(15,4) NOT NULL, final_price DECIMAL(15,4) NOT NULL, products_tax DECIMAL(7,4) NOT NULL, products_quantity INT(2) NOT NULL,
  PRIMARY KEY (orders_products_id), KEY idx_orders_products_orders_id (orders_id));
CREATE TABLE orders_total (
  orders_total_id INT UNSIGNED NOT NULL AUTO_INCREMENT, orders_id INT NOT NULL, title VARCHAR(255) NOT NULL, text VARCHAR(255) NOT NULL, value DECIMAL(15,4) NOT NULL, class VARCHAR(32) NOT NULL, sort_order INT NOT NULL,
  PRIMARY KEY (orders_total_id), KEY idx_orders_total_orders_id (orders_id));
CREATE TABLE orders_status (
  orders_status_id INT NOT NULL DEFAULT 0, language_id INT NOT NULL DEFAULT 1, orders_status_name VARCHAR(32) NOT NULL, PRIMARY KEY (orders_status_id, language_id));
INSERT INTO orders_status VALUES (1, 1, 'Pending'), (2, 1, 'Processing'), (3, 1, 'Delivered'), (4, 1, 'Cancelled');
CREATE TABLE orders_status_history (
  orders_status_history_id INT NOT NULL AUTO_INCREMENT, orders_id INT NOT NULL, orders_status_id INT(5) NOT NULL, date_added DATETIME NOT NULL, customer_notified INT(1) DEFAULT 0, comments TEXT,
  PRIMARY KEY (orders_status_history_id), KEY idx_orders_status_history_orders_id (orders_id));
CREATE TABLE customers (customers_id INT NOT NULL AUTO_INCREMENT, customers_firstname VARCHAR(255) NOT NULL, customers_lastname VARCHAR(255) NOT NULL, customers_email_address VARCHAR(255) NOT NULL, customers_default_address_id INT, customers_telephone VARCHAR(255) NOT NULL, PRIMARY KEY (customers_id));
INSERT INTO customers VALUES (1, 'Ada', 'Sample', 'ada@example.com', 1, '555');
CREATE TABLE address_book (address_book_id INT NOT NULL AUTO_INCREMENT, entry_company VARCHAR(255), entry_street_address VARCHAR(255) NOT NULL, entry_suburb VARCHAR(255), entry_city VARCHAR(255) NOT NULL, entry_state VARCHAR(255), entry_postcode VARCHAR(255) NOT NULL, PRIMARY KEY (address_book_id));
INSERT INTO address_book VALUES (1, NULL, '1 Sample Street', NULL, 'Sampleton', NULL, '12345');
ALTER TABLE orders AUTO_INCREMENT = 1001;
-- The till's own record of every change of stock, whoever makes it: the database writes it, not the program that changes.
CREATE TABLE till_journal (id INT NOT NULL AUTO_INCREMENT, at DATETIME(3) NOT NULL, kind VARCHAR(10) NOT NULL, sku VARCHAR(255), delta INT NOT NULL, quantity INT NOT NULL, ref VARCHAR(255) NOT NULL, PRIMARY KEY (id));
CREATE TRIGGER till_products AFTER UPDATE ON products FOR EACH ROW
  INSERT INTO till_journal (at, kind, sku, delta, quantity, ref)
  SELECT UTC_TIMESTAMP(3), IFNULL(@till_kind, 'delta'), NEW.products_model, NEW.products_quantity - OLD.products_quantity, NEW.products_quantity, IFNULL(@till_ref, '')
   WHERE NEW.products_quantity <> OLD.products_quantity;
CREATE TABLE till_waits (name VARCHAR(64) NOT NULL, PRIMARY KEY (name));
