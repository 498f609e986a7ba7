
/** X-Cart's settings are read and not run: they would start the whole shop. */
function onhand_find_shop($settings)
{
    $folder = dirname(__FILE__);
    $four = is_file($folder . '/config.php') ? onhand_read_x_cart_4($folder) : array();
    if (isset($four['name']) || (!is_file($folder . '/etc/config.php') && $settings['db_name'] !== '')) {
        $database = new OnhandDatabase(onhand_access($settings, $four), $settings);
        return new OnhandXCart4Shop($database, onhand_prefix($settings, 'xcart_'), $settings);
    }
    $five = onhand_read_x_cart_5($folder);
    $database = new OnhandDatabase(onhand_access($settings, $five), $settings);
    return new OnhandXCart5Shop($database, onhand_prefix($settings, isset($five['prefix']) ? $five['prefix'] : 'xc_'), $settings);
}

/** `$sql_host = 'localhost';` and its like; in a later file they count more. */
function onhand_read_x_cart_4($folder)
{
    $found = array();
    foreach (array('config.php', 'config.local.php') as $file) {
        $text = is_file("$folder/$file") ? (string) file_get_contents("$folder/$file") : '';
        preg_match_all(
            '/^\s*\$sql_(host|user|db|password)\s*=\s*(?:\'((?:[^\'\\\\]|\\\\.)*)\'|"((?:[^"\\\\]|\\\\.)*)")\s*;/m',
            $text,
            $lines,
            PREG_SET_ORDER
        );
        foreach ($lines as $line) {
            $name = $line[1] === 'db' ? 'name' : $line[1];
            $found[$name] = isset($line[3]) ? stripcslashes($line[3]) : strtr($line[2], array('\\\\' => '\\', "\\'" => "'"));
        }
    }
    return $found;
}

/** An INI file under a line of PHP that keeps browsers out; config.local.php counts more. */
function onhand_read_x_cart_5($folder)
{
    $found = array();
    foreach (array('config.default.php', 'config.php', 'config.local.php') as $file) {
        $parsed = is_file("$folder/etc/$file") ? @parse_ini_file("$folder/etc/$file", true, INI_SCANNER_RAW) : false;
        if (is_array($parsed) && isset($parsed['database_details'])) {
            foreach ($parsed['database_details'] as $name => $value) {
                if ($value !== '') {
                    $found[$name] = trim($value, '"\'');
                }
            }
        }
    }
    $access = array('password' => '');
    $names = array('hostspec' => 'host', 'username' => 'user', 'password' => 'password', 'database' => 'name', 'socket' => 'socket', 'port' => 'port', 'table_prefix' => 'prefix');
    foreach ($names as $theirs => $ours) {
        if (isset($found[$theirs])) {
            $access[$ours] = $found[$theirs];
        }
    }
    return $access;
}

/** What both have in common: where the statements come from, and what SETI is told of people and money. */
abstract class OnhandXCartShop
{
    public $database;
    public $prefix;
    public $family = 'x-cart';
    public $version;
    public $sources;
    protected $settings;

    public function __construct($database, $prefix, $settings)
    {
        $this->database = $database;
        $this->prefix = $prefix;
        $this->settings = $settings;
        $this->find();
    }

    abstract protected function find();

    protected function heads($rows)
    {
        $heads = array();
        foreach ($rows as $row) {
            $heads[] = array(
                'id' => $row['id'],
                'age' => (int) $row['age'],
                'zoned' => false,
                'told' => (bool) $row['told'],
                'whole' => onhand_adds_up($row['line_count'], $row['subtotal'], $row['net'], $row['net']),
                'keys' => $row['skus'] === null ? array() : array_map('onhand_clean', explode("\n", $row['skus'])),
                'fingerprint' => sha1($row['status'] . '|' . $row['line_count'] . '|' . $row['line_sum']),
            );
        }
        return $heads;
    }

    protected function with_lines($orders, $rows)
    {
        foreach ($rows as $row) {
            if (isset($orders[(int) $row['order_id']])) {
                $orders[(int) $row['order_id']]['lines'][] = array(
                    'line' => (string) $row['line'],
                    'key' => onhand_line_key($row['sku'], $row['product_id']),
                    'quantity' => onhand_line_pieces($row['quantity']),
                    'title' => onhand_clean($row['title']),
                );
            }
        }
        return $orders;
    }
}

class OnhandXCart4Shop extends OnhandXCartShop
{
    private static $letters = array('I' => 'Not finished', 'Q' => 'Queued', 'A' => 'Pre-authorized', 'P' => 'Processed', 'B' => 'Backordered',
        'D' => 'Declined', 'F' => 'Failed', 'C' => 'Complete');

    protected function find()
    {
        $p = $this->prefix;
        $row = $this->database->one("SELECT value FROM {$p}config WHERE name = 'version'");
        $this->version = 'X-Cart ' . ($row === null ? '4' : $row['value']);
        $columns = $this->database->one(
            "SELECT COUNT(*) AS found FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND COLUMN_NAME = 'is_product_row'",
            array($p . 'variants')
        );
        // Later versions keep a row for the product itself among its variants.
        $own = (int) $columns['found'] > 0 ? ' AND is_product_row = 0' : '';
        $this->sources = array(
            array(
                'name' => 'product',
                'table' => $p . 'products',
                'id' => 'productid',
                'sku' => 'productcode',
                'quantity' => 'avail',
                'shown' => 'forsale',
                'shown_value' => 'Y',
                'hidden_value' => 'N',
                // The stock of a product with variants is that of its variants.
                'select' => "SELECT productid AS id, productcode AS sku, avail AS quantity FROM {$p}products
                    WHERE productid NOT IN (SELECT productid FROM {$p}variants WHERE 1 = 1$own)",
            ),
            array(
                'name' => 'variant',
                'table' => $p . 'variants',
                'id' => 'variantid',
                'sku' => 'productcode',
                'quantity' => 'avail',
                'select' => "SELECT variantid AS id, productcode AS sku, avail AS quantity FROM {$p}variants WHERE 1 = 1$own",
            ),
        );
    }

    public function notes()
    {
        $notes = array();
        $row = $this->database->one("SELECT value FROM {$this->prefix}config WHERE name = 'unlimited_products'");
        if ($row !== null && $row['value'] === 'Y') {
            $notes[] = 'The shop does not keep stock ("Disable stock control" is on), so its own sales take nothing from it.';
        }
        $hidden = $this->database->one("SELECT COUNT(*) AS items FROM {$this->prefix}products WHERE forsale = 'N' AND avail > 0");
        if ((int) $hidden['items'] > 0) {
            $notes[] = (int) $hidden['items'] . ' products are not for sale although they have stock.';
        }
        return $notes;
    }

    public function first_watched_order()
    {
        $row = $this->database->one(
            "SELECT COALESCE(MIN(orderid), 0) AS id FROM {$this->prefix}orders WHERE `date` >= UNIX_TIMESTAMP() - ?",
            array(86400 * (int) $this->settings['watch_days'])
        );
        return (int) $row['id'];
    }

    /** An order shows its lines before the shop takes their pieces. X: a payment page was opened, nothing was taken yet. */
    public function order_heads($from)
    {
        $p = $this->prefix;
        return $this->heads($this->database->rows(
            "SELECT o.orderid AS id, o.status AS status, UNIX_TIMESTAMP() - o.`date` AS age, o.status <> 'X' AS told, o.subtotal AS subtotal,
                    COUNT(d.itemid) AS line_count, SUM(d.price * d.amount) AS net,
                    COALESCE(SUM(CRC32(CONCAT_WS('|', d.itemid, d.productcode, d.amount))), 0) AS line_sum,
                    GROUP_CONCAT(DISTINCT d.productcode SEPARATOR '\\n') AS skus
               FROM {$p}orders o LEFT JOIN {$p}order_details d ON d.orderid = o.orderid
              WHERE o.orderid >= ? GROUP BY o.orderid, o.status, o.`date`, o.subtotal ORDER BY o.orderid",
            array($from)
        ));
    }

    public function orders($ids)
    {
        if (count($ids) === 0) {
            return array();
        }
        $p = $this->prefix;
        $orders = array();
        $cancelled = count($this->settings['cancelled_statuses']) > 0 ? $this->settings['cancelled_statuses'] : array('D', 'F');
        $shipped = count($this->settings['shipped_statuses']) > 0 ? $this->settings['shipped_statuses'] : array('C');
        foreach ($this->database->rows("SELECT orderid AS id, status, `date` AS placed FROM {$p}orders WHERE orderid IN (?)", array($ids)) as $row) {
            $orders[(int) $row['id']] = array(
                'number' => (string) $row['id'],
                'placedAt' => onhand_moment($row['placed']),
                'state' => in_array($row['status'], $cancelled, true) ? 'cancelled' : (in_array($row['status'], $shipped, true) ? 'shipped' : 'open'),
                'lines' => array(),
            );
        }
        return $this->with_lines($orders, $this->database->rows(
            "SELECT orderid AS order_id, itemid AS line, productid AS product_id, productcode AS sku, product AS title, amount AS quantity
               FROM {$p}order_details WHERE orderid IN (?) ORDER BY itemid",
            array($ids)
        ));
    }

    public function status_names()
    {
        return self::$letters;
    }

    /** The letter alone; what the shop does besides (mails, stock of declined orders) is left to its own pages. */
    public function set_order_status($number, $status)
    {
        if ($status === 'D' || $status === 'F') {
            throw new OnhandRefusal(400, 'Decline an order in the shop itself: it has to take its pieces back.');
        }
        $this->database->run("UPDATE {$this->prefix}orders SET status = ? WHERE orderid = ?", array($status, (int) $number));
    }

    public function order_details($ids)
    {
        $p = $this->prefix;
        $details = array();
        foreach ($this->database->rows("SELECT * FROM {$p}orders WHERE orderid IN (?)", array($ids)) as $row) {
            $details[(int) $row['orderid']] = array(
                'billing' => $this->address($row, 'b_'),
                'shipping' => $this->address($row, 's_'),
                'payment' => $row['payment_method'],
                'customer' => isset($row['userid']) ? $row['userid'] : '',
                'comment' => $row['customer_notes'],
                'prices' => array(),
                'totals' => array('products' => (float) $row['subtotal'], 'tax' => (float) $row['tax'], 'shipping' => (float) $row['shipping_cost'],
                    'grand' => (float) $row['total']),
            );
        }
        foreach ($this->database->rows("SELECT orderid, itemid, price FROM {$p}order_details WHERE orderid IN (?)", array($ids)) as $row) {
            $details[(int) $row['orderid']]['prices'][$row['itemid']] = (float) $row['price'];
        }
        return $details;
    }

    private function address($row, $kind)
    {
        return array(
            'name' => trim($row[$kind . 'firstname'] . ' ' . $row[$kind . 'lastname']),
            'company' => $row['company'],
            'street' => $row[$kind . 'address'],
            'street2' => '',
            'city' => $row[$kind . 'city'],
            'state' => $row[$kind . 'state'],
            'code' => $row[$kind . 'zipcode'],
            'country' => $row[$kind . 'country'],
            'phone' => isset($row[$kind . 'phone']) ? $row[$kind . 'phone'] : (isset($row['phone']) ? $row['phone'] : ''),
            'email' => $row['email'],
        );
    }

    public function product_details($ids)
    {
        $p = $this->prefix;
        $found = array();
        foreach ($this->database->rows("SELECT productid AS id, productcode AS name, list_price AS price, weight, forsale <> 'N' AS shown FROM {$p}products WHERE productid IN (?)", array($ids)) as $row) {
            $found['0:' . $row['id']] = $row;
        }
        return $found;
    }

    public function count_customers()
    {
        $row = $this->database->one("SELECT COUNT(*) AS customers FROM {$this->prefix}customers WHERE usertype = 'C'");
        return (int) $row['customers'];
    }

    public function customers($offset, $count)
    {
        $customers = array();
        foreach ($this->database->rows(
            "SELECT id, firstname, lastname, email, company FROM {$this->prefix}customers WHERE usertype = 'C' ORDER BY id LIMIT ?, ?",
            array($offset, $count)
        ) as $row) {
            $customers[] = $row + array('name' => trim($row['firstname'] . ' ' . $row['lastname']), 'phone' => '', 'street' => '', 'street2' => '',
                'city' => '', 'state' => '', 'code' => '', 'country' => '');
        }
        return $customers;
    }
}

/** By its published tables; not tried on a running shop. */
class OnhandXCart5Shop extends OnhandXCartShop
{
    protected function find()
    {
        $p = $this->prefix;
        $this->version = 'X-Cart 5';
        $this->sources = array(array(
            'name' => 'product',
            'table' => $p . 'products',
            'id' => 'product_id',
            'sku' => 'sku',
            'quantity' => 'amount',
            'shown' => 'enabled',
            'shown_value' => 1,
            'hidden_value' => 0,
            'select' => "SELECT product_id AS id, sku, amount AS quantity, inventoryEnabled AS tracked FROM {$p}products WHERE 1 = 1",
        ));
        $variants = $this->database->one(
            'SELECT COUNT(*) AS found FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?',
            array($p . 'product_variants')
        );
        if ((int) $variants['found'] > 0) {
            $this->sources[] = array(
                'name' => 'variant',
                'table' => $p . 'product_variants',
                'id' => 'id',
                'sku' => 'sku',
                'quantity' => 'amount',
                // A variant with the default amount has no stock of its own.
                'select' => "SELECT id, sku, amount AS quantity, 1 AS tracked FROM {$p}product_variants WHERE defaultAmount = 0",
            );
        }
    }

    public function notes()
    {
        return array('X-Cart 5 lowers a quantity to 0 at most when it sells: set "lowers to zero at most" for this cart.');
    }

    public function first_watched_order()
    {
        $row = $this->database->one(
            "SELECT COALESCE(MIN(order_id), 0) AS id FROM {$this->prefix}orders WHERE `date` >= UNIX_TIMESTAMP() - ?",
            array(86400 * (int) $this->settings['watch_days'])
        );
        return (int) $row['id'];
    }

    public function order_heads($from)
    {
        $p = $this->prefix;
        return $this->heads($this->database->rows(
            "SELECT o.order_id AS id, CONCAT_WS('/', o.payment_status_id, o.shipping_status_id) AS status, UNIX_TIMESTAMP() - o.`date` AS age,
                    (o.is_order = 1 AND o.orderNumber IS NOT NULL) AS told, o.subtotal AS subtotal,
                    COUNT(i.item_id) AS line_count, SUM(i.price * i.amount) AS net,
                    COALESCE(SUM(CRC32(CONCAT_WS('|', i.item_id, i.sku, i.amount))), 0) AS line_sum, GROUP_CONCAT(DISTINCT i.sku SEPARATOR '\\n') AS skus
               FROM {$p}orders o LEFT JOIN {$p}order_items i ON i.order_id = o.order_id
              WHERE o.order_id >= ?
              GROUP BY o.order_id, o.payment_status_id, o.shipping_status_id, o.`date`, o.is_order, o.orderNumber, o.subtotal ORDER BY o.order_id",
            array($from)
        ));
    }

    public function orders($ids)
    {
        if (count($ids) === 0) {
            return array();
        }
        $p = $this->prefix;
        $orders = array();
        foreach ($this->database->rows(
            "SELECT o.order_id AS id, o.orderNumber AS number, o.`date` AS placed, ps.code AS payment, ss.code AS shipping
               FROM {$p}orders o LEFT JOIN {$p}order_payment_statuses ps ON ps.id = o.payment_status_id
               LEFT JOIN {$p}order_shipping_statuses ss ON ss.id = o.shipping_status_id WHERE o.order_id IN (?)",
            array($ids)
        ) as $row) {
            $cancelled = in_array($row['payment'], array('C', 'D'), true);
            $orders[(int) $row['id']] = array(
                'number' => (string) $row['number'],
                'placedAt' => onhand_moment($row['placed']),
                'state' => $cancelled ? 'cancelled' : (in_array($row['shipping'], array('S', 'D'), true) ? 'shipped' : 'open'),
                'lines' => array(),
            );
        }
        return $this->with_lines($orders, $this->database->rows(
            "SELECT order_id, item_id AS line, object_id AS product_id, sku, name AS title, amount AS quantity
               FROM {$p}order_items WHERE order_id IN (?) ORDER BY item_id",
            array($ids)
        ));
    }

    public function status_names()
    {
        return array();
    }

    public function set_order_status($number, $status)
    {
        throw new OnhandRefusal(400, 'Change the status of an order in the shop itself.');
    }

    public function order_details($ids)
    {
        throw new OnhandRefusal(400, 'Orders of X-Cart 5 are told to Onhand only, not over SETI.');
    }

    public function product_details($ids)
    {
        return array();
    }

    public function count_customers()
    {
        return 0;
    }

    public function customers($offset, $count)
    {
        return array();
    }
}
