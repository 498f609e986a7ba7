<?php
/*
 * The till of a sample shop: what its customers and its owner do, written to the database statement by statement as
 * osCommerce and X-Cart 4 write it. osCommerce reads a quantity and writes an absolute number, line after line, without a
 * transaction, and the order's line only then; X-Cart writes the lines first and then takes the pieces by subtraction.
 * Beside a real shop this file has no place: it asks nobody who they are.
 */
require __DIR__ . '/till-settings.php';
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
$db = new mysqli(TILL_HOST, TILL_USER, TILL_PASSWORD, TILL_DATABASE, TILL_PORT);
$db->set_charset('utf8mb4');
$db->query("SET SESSION sql_mode = ''");
header('Content-Type: application/json');
try {
    echo json_encode(serve($db, json_decode(file_get_contents('php://input'), true)), JSON_UNESCAPED_UNICODE);
} catch (RangeException $refused) {
    http_response_code($refused->getCode());
    echo json_encode(array('error' => $refused->getMessage()));
}

function serve($db, $call)
{
    $shop = TILL_FAMILY === 'x-cart' ? new XCartTill($db) : new OsCommerceTill($db);
    switch ($call['do']) {
        case 'load':
            $db->begin_transaction();
            $loaded = $shop->load($call['items']);
            $db->commit();
            return $loaded;
        case 'stock':
            // One item or all; a page of a thousand for one of them would make every sale slow.
            $one = isset($call['key']) ? ' WHERE BINARY x.`key` = BINARY ' . $shop->quoted($call['key']) : '';
            return array('items' => rows($db, "SELECT * FROM ({$shop->items}) AS x" . $one));
        case 'orders':
            return array('orders' => $shop->orders());
        case 'journal':
            return array('journal' => rows($db, "SELECT CONCAT(REPLACE(at, ' ', 'T'), 'Z') AS at, kind, sku AS `key`, delta, quantity, ref AS id FROM till_journal ORDER BY id"));
        case 'buy':
            return array('order' => $shop->buy($call['lines'], !empty($call['backorder']), isset($call['waitFor']) ? $call['waitFor'] : array()));
        case 'move':
            return array('order' => $shop->move((int) $call['number'], $call['state']));
        default:
            throw new RangeException('unknown', 400);
    }
}

function rows($db, $sql)
{
    $rows = array();
    foreach ($db->query($sql)->fetch_all(MYSQLI_ASSOC) as $row) {
        foreach (array('quantity', 'delta') as $number) {
            if (isset($row[$number])) {
                $row[$number] = (int) $row[$number];
            }
        }
        $rows[] = $row;
    }
    return $rows;
}

abstract class Till
{
    public $items;
    protected $db;

    public function __construct($db)
    {
        $this->db = $db;
    }

    protected function kind($kind, $ref)
    {
        $this->db->query("SET @till_kind = '$kind', @till_ref = '$ref'");
    }

    public function quoted($text)
    {
        return "'" . $this->db->real_escape_string($text) . "'";
    }

    /** A checkout that takes its time: it waits here until whoever holds the lock lets it go on. */
    protected function pause($wait_for, $place)
    {
        if (isset($wait_for[$place])) {
            $name = $this->quoted($wait_for[$place]);
            $this->db->query("INSERT IGNORE INTO till_waits VALUES ($name)");
            $this->db->query("SELECT GET_LOCK($name, 30)");
            $this->db->query("DO RELEASE_LOCK($name)");
        }
    }

    /** The products that are sold, after the look at the stock that both shops take first. */
    protected function wanted($lines, $backorder, $find)
    {
        $wanted = array();
        foreach ($lines as $line) {
            $product = $this->db->query($find . ' = ' . $this->quoted($line['key']))->fetch_assoc();
            if (!$product) {
                throw new RangeException('unknown item ' . $line['key'], 404);
            }
            if (!$backorder && $product['quantity'] < $line['quantity']) {
                throw new RangeException('sold out', 409);
            }
            $wanted[] = $product + array('amount' => (int) $line['quantity']);
        }
        return $wanted;
    }

    protected function shaped($orders, $lines)
    {
        $shaped = array();
        foreach ($orders as $order) {
            $shaped[$order['number']] = $order + array('lines' => array());
        }
        foreach ($lines as $line) {
            $number = $line['number'];
            unset($line['number']);
            $shaped[$number]['lines'][] = $line;
        }
        return array_values($shaped);
    }
}

class OsCommerceTill extends Till
{
    public $items = "SELECT p.products_model AS `key`, COALESCE(d.products_name, '') AS title, p.products_quantity AS quantity
        FROM products p LEFT JOIN products_description d ON d.products_id = p.products_id WHERE p.products_model IS NOT NULL ORDER BY p.products_id";

    public function load($items)
    {
        $this->kind('load', 'load');
        foreach ($items as $item) {
            $key = $this->quoted($item['key']);
            $found = $this->db->query("SELECT products_id FROM products WHERE BINARY products_model = BINARY $key")->fetch_assoc();
            if ($found) {
                $this->db->query("UPDATE products SET products_quantity = " . (int) $item['quantity'] . " WHERE products_id = {$found['products_id']}");
                continue;
            }
            $this->db->query("INSERT INTO products (products_quantity, products_model) VALUES (" . (int) $item['quantity'] . ", $key)");
            $this->db->query("INSERT INTO products_description (products_id, products_name) VALUES ({$this->db->insert_id}, " . $this->quoted($item['title']) . ")");
        }
        return array('loaded' => count($items));
    }

    public function buy($lines, $backorder, $wait_for)
    {
        $wanted = $this->wanted($lines, $backorder, "SELECT p.products_id AS id, p.products_model AS model, d.products_name AS name, p.products_quantity AS quantity, p.products_price AS price
            FROM products p LEFT JOIN products_description d ON d.products_id = p.products_id WHERE BINARY p.products_model");
        $this->db->query("INSERT INTO orders (delivery_name, billing_name, date_purchased, orders_status) VALUES ('Ada Sample', 'Ada Sample', NOW(), 1)");
        $number = $this->db->insert_id;
        $subtotal = 0;
        foreach ($wanted as $product) {
            $subtotal += $product['price'] * $product['amount'];
        }
        foreach (array('ot_subtotal', 'ot_total') as $place => $class) {
            $this->db->query("INSERT INTO orders_total (orders_id, title, text, value, class, sort_order) VALUES ($number, '', '', $subtotal, '$class', $place)");
        }
        $this->db->query("INSERT INTO orders_status_history (orders_id, orders_status_id, date_added, comments) VALUES ($number, 1, NOW(), '')");
        $this->pause($wait_for, 'before stock');
        $this->kind('sale', $number);
        foreach ($wanted as $product) {
            $row = $this->db->query("SELECT products_quantity FROM products WHERE products_id = {$product['id']}")->fetch_assoc();
            $this->pause($wait_for, 'between reading and writing');
            $left = $row['products_quantity'] - $product['amount'];
            $this->db->query("UPDATE products SET products_quantity = '" . (int) $left . "' WHERE products_id = {$product['id']}");
            $this->pause($wait_for, 'before the line');
            $this->db->query("UPDATE products SET products_ordered = products_ordered + {$product['amount']} WHERE products_id = {$product['id']}");
            $this->db->query("INSERT INTO orders_products (orders_id, products_id, products_model, products_name, products_price, final_price, products_tax, products_quantity)
                VALUES ($number, {$product['id']}, " . $this->quoted($product['model']) . ", " . $this->quoted($product['name']) . ", {$product['price']}, {$product['price']}, 0, {$product['amount']})");
        }
        return $this->order($number);
    }

    public function move($number, $state)
    {
        $status = $state === 'cancelled' ? 4 : 3;
        $this->db->query("UPDATE orders SET orders_status = $status, last_modified = NOW() WHERE orders_id = $number");
        $this->db->query("INSERT INTO orders_status_history (orders_id, orders_status_id, date_added, comments) VALUES ($number, $status, NOW(), '')");
        return $this->order($number);
    }

    public function orders($where = '1 = 1')
    {
        return $this->shaped(
            rows($this->db, "SELECT CAST(o.orders_id AS CHAR) AS number, 1 AS revision, DATE_FORMAT(CONVERT_TZ(o.date_purchased, @@session.time_zone, '+00:00'), '%Y-%m-%dT%H:%i:%sZ') AS placedAt,
                CASE o.orders_status WHEN 3 THEN 'shipped' WHEN 4 THEN 'cancelled' ELSE 'open' END AS state FROM orders o WHERE $where ORDER BY o.orders_id"),
            rows($this->db, "SELECT CAST(o.orders_id AS CHAR) AS number, CAST(l.orders_products_id AS CHAR) AS line, l.products_model AS `key`, l.products_quantity AS quantity, l.products_name AS title
                FROM orders o JOIN orders_products l ON l.orders_id = o.orders_id WHERE $where ORDER BY l.orders_products_id")
        );
    }

    private function order($number)
    {
        $orders = $this->orders("o.orders_id = $number");
        return isset($orders[0]) ? $orders[0] : null;
    }
}

class XCartTill extends Till
{
    public $items = "SELECT productcode AS `key`, product AS title, avail AS quantity FROM xcart_products WHERE productid NOT IN (SELECT productid FROM xcart_variants)
        UNION ALL SELECT v.productcode, p.product, v.avail FROM xcart_variants v JOIN xcart_products p USING (productid)";

    public function load($items)
    {
        $this->kind('load', 'load');
        foreach ($items as $item) {
            $key = $this->quoted($item['key']);
            $quantity = (int) $item['quantity'];
            $this->db->query("UPDATE xcart_variants SET avail = $quantity WHERE BINARY productcode = BINARY $key");
            $variants = $this->db->query("SELECT variantid FROM xcart_variants WHERE BINARY productcode = BINARY $key")->num_rows;
            $found = $this->db->query("SELECT productid FROM xcart_products WHERE BINARY productcode = BINARY $key")->fetch_assoc();
            if ($found) {
                $this->db->query("UPDATE xcart_products SET avail = $quantity WHERE productid = {$found['productid']}");
            } elseif ($variants === 0) {
                $this->db->query("INSERT INTO xcart_products (productcode, product, avail) VALUES ($key, " . $this->quoted($item['title']) . ", $quantity)");
            }
        }
        return array('loaded' => count($items));
    }

    public function buy($lines, $backorder, $wait_for)
    {
        $wanted = $this->wanted($lines, $backorder, "SELECT * FROM (SELECT productid AS id, NULL AS variant, productcode AS model, product AS name, avail AS quantity, list_price AS price
                FROM xcart_products WHERE productid NOT IN (SELECT productid FROM xcart_variants)
            UNION ALL SELECT p.productid, v.variantid, v.productcode, p.product, v.avail, p.list_price FROM xcart_variants v JOIN xcart_products p USING (productid)) x WHERE BINARY x.model");
        $subtotal = 0;
        foreach ($wanted as $product) {
            $subtotal += $product['price'] * $product['amount'];
        }
        $this->db->query("INSERT INTO xcart_orders (userid, total, subtotal, `date`, status, customer_notes, b_firstname, b_lastname, s_firstname, s_lastname)
            VALUES (1, $subtotal, $subtotal, UNIX_TIMESTAMP(), 'Q', '', 'Ada', 'Sample', 'Ada', 'Sample')");
        $number = $this->db->insert_id;
        foreach ($wanted as $product) {
            $this->db->query("INSERT INTO xcart_order_details (orderid, productid, price, amount, productcode, product)
                VALUES ($number, {$product['id']}, {$product['price']}, {$product['amount']}, " . $this->quoted($product['model']) . ", " . $this->quoted($product['name']) . ")");
        }
        $this->pause($wait_for, 'before stock');
        $this->take($number, '-', 'sale');
        return $this->order($number);
    }

    /** Pieces go and come by subtraction and addition, one statement a line. */
    private function take($number, $sign, $kind)
    {
        $this->kind($kind, $number);
        foreach (rows($this->db, "SELECT d.productid, d.productcode, d.amount FROM xcart_order_details d WHERE d.orderid = $number ORDER BY d.itemid") as $line) {
            $key = $this->quoted($line['productcode']);
            $this->db->query("UPDATE xcart_variants SET avail = avail $sign '{$line['amount']}' WHERE productid = {$line['productid']} AND BINARY productcode = BINARY $key");
            if ($this->db->affected_rows === 0) {
                $this->db->query("UPDATE xcart_products SET rating = rating + 1 WHERE productid = {$line['productid']}");
                $this->db->query("UPDATE xcart_products SET avail = avail $sign '{$line['amount']}' WHERE productid = {$line['productid']}");
            }
        }
    }

    public function move($number, $state)
    {
        $known = $this->db->query("SELECT status FROM xcart_orders WHERE orderid = $number")->fetch_assoc();
        $this->db->query("UPDATE xcart_orders SET status = '" . ($state === 'cancelled' ? 'D' : 'C') . "' WHERE orderid = $number");
        if ($state === 'cancelled' && $known['status'] === 'Q') {
            $this->take($number, '+', 'cancel');
        }
        return $this->order($number);
    }

    public function orders($where = '1 = 1')
    {
        return $this->shaped(
            rows($this->db, "SELECT CAST(o.orderid AS CHAR) AS number, 1 AS revision, DATE_FORMAT(CONVERT_TZ(FROM_UNIXTIME(o.`date`), @@session.time_zone, '+00:00'), '%Y-%m-%dT%H:%i:%sZ') AS placedAt,
                CASE o.status WHEN 'C' THEN 'shipped' WHEN 'D' THEN 'cancelled' WHEN 'F' THEN 'cancelled' ELSE 'open' END AS state FROM xcart_orders o WHERE $where ORDER BY o.orderid"),
            rows($this->db, "SELECT CAST(o.orderid AS CHAR) AS number, CAST(l.itemid AS CHAR) AS line, l.productcode AS `key`, l.amount AS quantity, l.product AS title
                FROM xcart_orders o JOIN xcart_order_details l ON l.orderid = o.orderid WHERE $where ORDER BY l.itemid")
        );
    }

    private function order($number)
    {
        $orders = $this->orders("o.orderid = $number");
        return isset($orders[0]) ? $orders[0] : null;
    }
}
